"""Commands that print figures; nothing here is asserted."""
