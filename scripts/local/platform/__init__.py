"""Cloudflare's limits where local workerd has none: a front before the Worker's own entry, never uploaded.

`switches` is the list of them. The modules below it run inside workerd, under the name `strict_platform`.
"""
