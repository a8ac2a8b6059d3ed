"""What does the sidecar do with neighbours that need not be there?"""
