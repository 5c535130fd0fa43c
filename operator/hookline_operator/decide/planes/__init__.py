"""
What runs for a plane: from a gateway's or a subscription's wish to the objects that should be there.

`plane` which planes are wanted → `pod` what is in a receiver pod → `manifests` the objects around it; `difference` tells whether
an object that is there says what it should.
"""
