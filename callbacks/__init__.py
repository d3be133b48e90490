"""What happens around training: pictures, prediction writers, reports."""
