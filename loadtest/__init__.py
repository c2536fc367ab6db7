"""Driving a deployed stack with real WebRTC clients and measuring what they see."""
