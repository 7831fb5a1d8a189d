// Package nsys reads what Nsight Systems exports with `nsys export --type sqlite`
// (https://docs.nvidia.com/nsight-systems/UserGuide/index.html#sqlite-schema-reference).
//
// Versions of nsys differ in the tables and columns that they export, and a table exists only
// if there is something in it: the reader takes what it finds. It opens the file read-only.
package nsys
