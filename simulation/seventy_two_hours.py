def every_boot_minute(base):
    return []
