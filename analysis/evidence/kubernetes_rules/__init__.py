"""Causes that Kubernetes objects and events show, a file a topic; `kubernetes_causes.py` lists them."""
