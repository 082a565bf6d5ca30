_aichat_completion() {
    local IFS=$'
'
    COMPREPLY=( $( env COMP_WORDS="${COMP_WORDS[*]}" \
                   COMP_CWORD=$COMP_CWORD \
                   _AICHAT_COMPLETE=complete_bash $1 ) )
    return 0
}

complete -o default -F _aichat_completion aichat
