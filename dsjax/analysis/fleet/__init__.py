"""Fleets of servers: how many whole instances, of which layouts, serve a demand within its limits."""
