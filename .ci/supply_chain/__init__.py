"""What the images are made of: package list, licences and bill of materials, from the lock file."""
