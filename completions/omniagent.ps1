# PowerShell completion for omniagent. What the program answers is data: nothing of it is invoked.

Register-ArgumentCompleter -Native -CommandName omniagent -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)

    $words = @()
    foreach ($element in $commandAst.CommandElements | Select-Object -Skip 1) {
        if ($element.Extent.EndOffset -ge $cursorPosition) { break }
        $value = if ($element -is [System.Management.Automation.Language.StringConstantExpressionAst]) {
            $element.Value
        } else {
            $element.Extent.Text
        }
        $words += $value
    }
    $words += "$wordToComplete".Trim("'", '"')

    $lines = @(omniagent __complete @words 2>$null)
    foreach ($line in $lines) {
        $value, $description = $line -split "`t", 2
        if (-not $value) {
            # An empty value: the shell itself completes file names when nothing is returned.
            return
        }
        if (-not $description) { $description = $value }
        $inserted = $value
        if ($value -notmatch '^[\w./:=+-]+$') { $inserted = "'" + $value.Replace("'", "''") + "'" }
        [System.Management.Automation.CompletionResult]::new($inserted, $value, 'ParameterValue', $description)
    }
}
