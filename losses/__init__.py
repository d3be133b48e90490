"""Losses: functions and small modules on tensors."""
