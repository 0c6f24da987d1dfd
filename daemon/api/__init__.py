"""The HTTP API: a thin typed layer over aiohttp, and the routes."""
