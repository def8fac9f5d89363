-- Traces with spans in several slices of time, and the slice that takes them whole.
select trace, min(slice) as home from times group by trace having min(slice) < max(slice) order by trace
