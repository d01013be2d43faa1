"""The dashboards, one file each. A file's docstring is the dashboard's description."""
