"""Devices reached over ssh: who they are (book), how they are reached (ssh), what is done there (docs/devices.md).

here                                       there
link.DeviceWorker -- ssh's pipes --> device_main    one process, one folder, one connection
                                         |-- guardian     clears both away once either side is gone
                                         `-- device_serve answers; an artifact is opened as any user would
"""
