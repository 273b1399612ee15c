"""weigh's server against other servers of models: the same net, payload and machine, windows of load in turns."""
