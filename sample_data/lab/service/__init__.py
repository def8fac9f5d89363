"""The Python program that is every Python service of the lab: the wiring table says which."""
