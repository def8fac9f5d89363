"""The report: one self-contained HTML file about an incident."""
