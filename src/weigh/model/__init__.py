"""The model that a user brings: what it is, how it is opened, judged and timed, and what is made of it."""
