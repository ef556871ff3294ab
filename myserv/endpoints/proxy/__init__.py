"""
The PROXY protocol: the wrapper C{proxy:}, for a server behind a balancer.

C{codec} reads the header and knows nothing of connections; C{wrapper} is the
layer, and what an endpoint string may say about it.
"""
