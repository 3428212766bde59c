// Package config carries the manifests that are installed on a router control plane.
//
// The files below crd are generated from the types in pkg/apis; `make generate` writes them and
// `make verify` refuses a commit in which they are stale.
package config

import (
	"embed"
	"fmt"
	"io/fs"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

//go:embed crd/*.yaml
var crds embed.FS

// CRDs returns the definitions of Ring, Cell, Rebalance and Failover. The caller owns the result.
func CRDs() ([]*apiextensionsv1.CustomResourceDefinition, error) {
	paths, err := fs.Glob(crds, "crd/*.yaml")
	if err != nil {
		return nil, fmt.Errorf("list embedded CRDs: %w", err)
	}
	out := make([]*apiextensionsv1.CustomResourceDefinition, 0, len(paths))
	for _, path := range paths {
		data, err := crds.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("read embedded %s: %w", path, err)
		}
		crd := &apiextensionsv1.CustomResourceDefinition{}
		if err := yaml.UnmarshalStrict(data, crd); err != nil {
			return nil, fmt.Errorf("parse embedded %s: %w", path, err)
		}
		out = append(out, crd)
	}
	return out, nil
}
