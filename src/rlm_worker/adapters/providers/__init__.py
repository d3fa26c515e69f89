"""Models beside Workers AI's own: other people's shapes, over HTTP or through the gateway of the binding `AI`."""
