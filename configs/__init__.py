"""One complete Serve config per profile; :mod:`serve_app.serving.profile` reads them."""
