"""What an evaluation leaves for people: pages and plots."""
