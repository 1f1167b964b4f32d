"""The devices. `registers` and `device` are what each is made of; then one file or folder a device.

A device knows the bus (for DMA), the event queue (for time) and an interrupt line: never the CPU.
"""
