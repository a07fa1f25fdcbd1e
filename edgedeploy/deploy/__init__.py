"""The store on a device: one protocol over every transport."""
