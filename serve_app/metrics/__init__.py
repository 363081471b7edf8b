"""What the server measures of itself, how it reaches Prometheus, and its page of docs/."""
