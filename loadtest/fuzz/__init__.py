"""Broken inputs by the hundred thousand: what the server does with each, and how long it takes."""
