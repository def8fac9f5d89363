// An OpenTelemetry Collector with nothing but what turns spans into metrics of calls and of operations, and what writes them.
package main

import (
	"log"

	"github.com/open-telemetry/opentelemetry-collector-contrib/connector/servicegraphconnector"
	"github.com/open-telemetry/opentelemetry-collector-contrib/connector/spanmetricsconnector"
	"github.com/open-telemetry/opentelemetry-collector-contrib/exporter/fileexporter"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/provider/fileprovider"
	"go.opentelemetry.io/collector/connector"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/exporter/otlphttpexporter"
	"go.opentelemetry.io/collector/otelcol"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/otlpreceiver"
)

func factories() (otelcol.Factories, error) {
	receivers, exporters, file := otlpreceiver.NewFactory(), otlphttpexporter.NewFactory(), fileexporter.NewFactory()
	graph, spans := servicegraphconnector.NewFactory(), spanmetricsconnector.NewFactory()
	return otelcol.Factories{
		Receivers:  map[component.Type]receiver.Factory{receivers.Type(): receivers},
		Connectors: map[component.Type]connector.Factory{graph.Type(): graph, spans.Type(): spans},
		Exporters:  map[component.Type]exporter.Factory{exporters.Type(): exporters, file.Type(): file},
	}, nil
}

func main() {
	settings := otelcol.CollectorSettings{
		BuildInfo: component.BuildInfo{Command: "collector", Description: "service graph", Version: "1"},
		Factories: factories,
		ConfigProviderSettings: otelcol.ConfigProviderSettings{
			ResolverSettings: confmap.ResolverSettings{DefaultScheme: "file", ProviderFactories: []confmap.ProviderFactory{fileprovider.NewFactory()}},
		},
	}
	if err := otelcol.NewCommand(settings).Execute(); err != nil {
		log.Fatal(err)
	}
}
