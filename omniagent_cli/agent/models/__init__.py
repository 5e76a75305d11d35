"""Model providers, their catalogs and the engines that speak their protocols."""
