"""The product as a service: one set of networks for many clients, over HTTP or behind a page."""
