"""The sample corpus of the demo, and the code that writes it from sentences made for it."""
