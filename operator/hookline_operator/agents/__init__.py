"""
What receiver pods serve, as their agents say.

directory   which pods there are, what each plane serves, when credentials were used
stream      one agent, followed: its reports, through reconnects
"""
