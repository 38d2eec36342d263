//! OCI names, bytes, archives and trees: everything an image is made of, without network or processes.
