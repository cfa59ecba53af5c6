"""The figures of the product, and how to get them: `make bench`, or `python -m bench [NAME …]`.

CPU is that of whole processes, all their threads included, as the kernel counts it. Whatever
is compared with something else ran in the same minutes on the same machine.
"""
