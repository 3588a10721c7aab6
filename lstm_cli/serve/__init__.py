"""The HTTP service of one model: what it takes, how requests are batched, and the page to try it."""
