"""One complete Serve config per profile; :mod:`configs.profile` reads them."""
