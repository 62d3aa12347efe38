//===- Precompiled.cpp - Carrier of the precompiled header ----------------===//
//
// Empty: the target needs a source file.
//
//===----------------------------------------------------------------------===//
