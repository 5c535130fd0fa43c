"""
`hookline dev`: the gateway on one machine.

`command` reads the options; `folder` says where everything lies under `--data`; `manifests` finds files and notices
changes; `compiling` makes routes of them, with the `credentials` that were made before; `addresses` says where the
handlers are; `publishing` writes the route files; `programs` says how receiver and forwarder are started; `supervising`
keeps them running; `session` puts it together; `telling` is what a person sees of it.
"""
