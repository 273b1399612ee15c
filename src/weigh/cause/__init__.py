"""What causes what: experiments and effects."""
