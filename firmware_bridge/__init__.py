"""Wire protocol between a microcontroller and a gateway, and readers of recorded signals."""
