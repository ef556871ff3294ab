"""
Typed options: one frozen attrs class is the flags, the TOML keys and the help.

C{values} has the types that options are made of, C{declare} how a class states
its options, C{structure} how text or TOML becomes an instance of one.
"""
