"""Connectors of our own, as plug-ins: calendars, mail, news. Each runs in a process of its own."""
