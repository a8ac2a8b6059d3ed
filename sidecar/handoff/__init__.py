"""What passes over the volume that the proxy and the sidecar share (standard library only)."""
