"""
Who is let in: rules that admit in order and release in reverse.

C{server} is what all services of a process share, C{service} what all listeners of
one share; each kind of rule has a module.  Nothing here does input or output, and
nothing here waits: time is asked for, never slept for.
"""
