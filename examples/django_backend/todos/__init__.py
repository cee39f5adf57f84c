"""The app: lists and todos of users, which their devices have too."""
