"""The panels of remote training: what is trained and where, the versions of styles, keys, machines and the tunnel. Not: rules about them."""
