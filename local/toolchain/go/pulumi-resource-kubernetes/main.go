// Command pulumi-resource-kubernetes is the official Kubernetes provider of Pulumi. Its own main package
// embeds files that its repository generates and its module lacks, so this one takes its place.
package main

import (
	_ "embed"
	"fmt"
	"strings"

	"github.com/pulumi/pulumi-kubernetes/provider/v4/pkg/provider"
	"github.com/pulumi/pulumi-kubernetes/provider/v4/pkg/version"
)

// The build copies both files from the module: see `embedded` in local/toolchain/go_tools.py.

//go:embed schema.json
var schema []byte

//go:embed terraform-mapping.json
var terraformMapping []byte

func main() {
	release := strings.TrimPrefix(version.Version, "v")
	// The schema in the repository has no version; the official build adds it.
	versioned := append(fmt.Appendf(nil, `{"version":%q,`, release), schema[1:]...)
	provider.Serve("kubernetes", release, versioned, terraformMapping)
}
