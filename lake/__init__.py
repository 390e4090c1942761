"""Ground floor: what every step shares. Imports nothing of the other rooms."""
